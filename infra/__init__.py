"""What runs around the product: setting up, local servers, the demo. Nothing of the product imports it."""
