"""From a trained run to a release: graphs, tables, golden answers, gates, and the bundle directory that a server admits."""
