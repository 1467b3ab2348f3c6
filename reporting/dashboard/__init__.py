"""The dashboard: the published tables with filters, a call explorer with its sound, judging, and trying a recording.

``make dashboard`` starts it (`reporting.dashboard.__main__`), Streamlit runs `app.py`; docs/dashboard.md is for users.
"""
