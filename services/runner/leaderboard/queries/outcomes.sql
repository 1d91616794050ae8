, ended AS (
  SELECT file, digest, entry,
    sum(CAST(r->>'$.evaluation_metadata.num_successful' AS BIGINT)) AS passed,
    sum(CAST(r->>'$.evaluation_metadata.outcomes.scored' AS BIGINT)) AS scored,
    sum(CAST(r->>'$.evaluation_metadata.outcomes.agent_error' AS BIGINT)) AS agent_error,
    sum(CAST(r->>'$.evaluation_metadata.outcomes.infra_error' AS BIGINT)) AS infra_error,
    sum(CAST(r->>'$.evaluation_metadata.outcomes.judge_error' AS BIGINT)) AS judge_error,
    sum(CAST(r->>'$.evaluation_metadata.outcomes.user_error' AS BIGINT)) AS user_error,
    sum(CAST(r->>'$.evaluation_metadata.outcomes.cancelled' AS BIGINT)) AS cancelled
  FROM shards GROUP BY ALL
), asked AS (
  SELECT file, digest, entry, sum(planned) AS planned FROM planned GROUP BY ALL
), counted AS (
  SELECT id, file, digest, entry, coalesce(planned, 0) AS planned, coalesce(passed, 0) AS passed, coalesce(scored, 0) AS scored,
    coalesce(agent_error, 0) AS agent_error, coalesce(infra_error, 0) AS infra_error, coalesce(judge_error, 0) AS judge_error,
    coalesce(user_error, 0) AS user_error, coalesce(cancelled, 0) AS cancelled
  FROM entries LEFT JOIN ended USING (file, digest, entry) LEFT JOIN asked USING (file, digest, entry)
)
SELECT id, planned AS "Planned", passed AS "Passed", scored AS "Scored", agent_error AS "Agent errors",
  infra_error AS "Infrastructure errors", judge_error AS "Judge errors", user_error AS "User errors", cancelled AS "Cancelled",
  planned - scored - agent_error - infra_error - judge_error - user_error - cancelled AS "Missing", substr(digest, 8, 8) AS "Plan"
FROM counted
ORDER BY scored / nullif(planned, 0) DESC NULLS LAST, id, file, entry
