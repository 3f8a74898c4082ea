"""Logs in, arrays out: loaders make a `Dataset`, `encode` turns it into an `EncodedLog`, `splits` and `counters` prepare training."""
