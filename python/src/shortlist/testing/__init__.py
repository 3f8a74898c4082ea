"""Small data sets, models and bundles with sizes as parameters, and contracts that any backend must pass."""
