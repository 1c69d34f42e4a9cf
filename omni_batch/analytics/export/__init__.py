"""A run's results in the forms that others read: hf, webdataset, jsonl, csv."""
