"""The steps of a night, one module each, and what they share: settings, storage, staging, Spark, publishing.

Each step runs by itself (``python -m jobs.plan_recordings --help``). Nothing here knows of Airflow.
"""
