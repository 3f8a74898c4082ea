"""The stages' models: `two_tower`, `preranker`, `ranker`, and the baselines without gradients, `popularity`, `cooccurrence` and `ials`.

Nothing is re-exported here, so that the baselines load without torch.
"""
