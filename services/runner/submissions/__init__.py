"""What a leaderboard takes: the shards of a plan added up, and a run as the files of a submission."""
