"""A lasting stack on this machine without Docker: Airflow with its scheduler, an S3 server and a Spark cluster."""
