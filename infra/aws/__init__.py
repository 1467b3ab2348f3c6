"""What runs in AWS: CloudFormation (`callmood.yaml`, `tables.json`) and what nights cost; not run there."""
