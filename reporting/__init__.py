"""What people look at: the nightly report, ready queries, SQL over the tables, and the report on a model.

Reads published tables only, but for the report on a model, which reads runs and corpora.
"""
