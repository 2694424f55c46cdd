"""How things are kept and sent on AWS; the only package that knows boto3."""
