"""How good is it? Full ranking, the cascade stage by stage, logged impressions; slices, intervals, gates and the report."""
