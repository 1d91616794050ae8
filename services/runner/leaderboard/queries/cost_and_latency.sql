, told_rows AS (
  SELECT file, digest, entry, CAST(row->>'$.usage.input_tokens' AS BIGINT) AS input,
    CAST(row->>'$.usage.output_tokens' AS BIGINT) AS output, CAST(row->>'$.usage.cost_usd' AS DOUBLE) AS cost,
    CAST(row->>'$.latency.agent_s' AS DOUBLE) AS agent_s
  FROM (SELECT file, digest, entry, unnest(from_json(r->'$.results', '["json"]')) AS row FROM shards)
), spent AS (
  SELECT file, digest, entry, count(*) AS rows, sum(input) AS input, sum(output) AS output, count(cost) AS priced,
    sum(cost) AS cost, median(agent_s) FILTER (agent_s > 0) AS median_s, quantile_cont(agent_s, 0.9) FILTER (agent_s > 0) AS slow_s
  FROM told_rows GROUP BY ALL
), judged AS (
  SELECT file, digest, entry, CASE WHEN count(cost) = count(*) THEN sum(cost) END AS cost
  FROM (SELECT file, digest, entry, CAST(r->>'$.evaluation_metadata.judge.cost_usd' AS DOUBLE) AS cost FROM shards) GROUP BY ALL
)
SELECT id, coalesce(rows, 0) AS "Trials", input AS "Input tokens", output AS "Output tokens", round(spent.cost, 4) AS "Cost USD",
  coalesce(priced, 0) AS "Trials with a price", round(judged.cost, 4) AS "Judge USD", round(median_s, 2) AS "Median s",
  round(slow_s, 2) AS "90 % s", substr(digest, 8, 8) AS "Plan"
FROM entries LEFT JOIN spent USING (file, digest, entry) LEFT JOIN judged USING (file, digest, entry)
ORDER BY spent.cost / nullif(rows, 0) NULLS LAST, id, file, entry
