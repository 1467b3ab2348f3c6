"""The report on a model, docs/model: what its cross-validation's saved runs are worth, measured, drawn and written.

``measure`` and ``alerts`` make the figures, ``pictures`` draws and ``page`` writes them; ``python -m
reporting.model_report`` does all. Needs the environment of training (docs/model.md).
"""
