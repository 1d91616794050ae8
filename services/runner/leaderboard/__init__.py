"""A folder of results as a leaderboard: read, added up, ranked, shown; and the queries that platforms run over the same files."""
