"""What runs in AWS: CloudFormation of buckets, roles, Spark, tables and alarms (`callmood.yaml`, `tables.json`), and costs."""
