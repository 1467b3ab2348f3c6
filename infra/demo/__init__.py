"""The demo's own parts: sample calls and a local S3. Nothing of the product imports it."""
