"""A real S3 server for one machine: OpenStack Swift with its s3api, which keeps what it is given in a folder."""
