"""Shortlist: from interaction logs to a served ranking funnel."""
