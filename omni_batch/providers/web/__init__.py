"""Media hosts: what is fetched from the web, whole or in part. Never the model's endpoint."""
