"""A run's results in the forms that others read: datasets, tables, annotators, trainers."""
