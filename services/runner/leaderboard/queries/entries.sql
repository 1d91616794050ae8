WITH files AS (
  SELECT participants.purple_agent AS id, row_number() OVER () AS file, to_json(results) AS objects FROM results
), objects AS (
  SELECT id, file, unnest(from_json(objects, '["json"]')) AS r,
    generate_subscripts(from_json(objects, '["json"]'), 1) AS place
  FROM files
), shards AS (
  SELECT id, file, r, r->'$.evaluation_metadata.plan' AS plan, r->>'$.evaluation_metadata.plan.digest' AS digest,
    CASE WHEN CAST(r->>'$.evaluation_metadata.plan.num_shards' AS BIGINT) > 1 THEN 0 ELSE place END AS entry
  FROM objects WHERE json_type(r->'$.evaluation_metadata.plan.benchmarks') = 'ARRAY'
), entries AS (
  SELECT id, file, digest, entry, count(*) AS objects, any_value(plan) AS plan,
    any_value(plan->>'$.section_mean') = 'datasets' AS by_dataset,
    any_value(CAST(plan->>'$.num_trials' AS BIGINT)) AS trials
  FROM shards GROUP BY id, file, digest, entry
), benchmarks AS (
  SELECT file, digest, entry, trials, by_dataset, unnest(from_json(plan->'$.benchmarks', '["json"]')) AS b FROM entries
), weights AS (
  SELECT file, digest, entry, w->>'$.section' AS section, CAST(w->>'$.weight' AS DOUBLE) AS weight
  FROM (SELECT file, digest, entry, unnest(from_json(plan->'$.section_weights', '["json"]')) AS w FROM entries)
), planned AS (
  SELECT file, digest, entry, b->>'$.section' AS section,
    CASE WHEN by_dataset THEN b->>'$.name' ELSE b->>'$.section' END AS part,
    sum(CAST(b->>'$.tasks' AS BIGINT) * trials) AS planned, bool_or(b->>'$.skipped' <> '') AS skipped
  FROM benchmarks GROUP BY ALL HAVING sum(CAST(b->>'$.tasks' AS BIGINT)) > 0 OR bool_or(b->>'$.skipped' <> '')
), told AS (
  SELECT file, digest, entry, s->>'$.section' AS part, CAST(s->>'$.score' AS DOUBLE) AS score,
    CAST(s->>'$.score_sum' AS DOUBLE) AS score_sum, CAST(s->>'$.counted' AS BIGINT) AS counted,
    CAST(s->>'$.planned' AS BIGINT) AS planned, CAST(s->>'$.lower' AS DOUBLE) AS lower, CAST(s->>'$.upper' AS DOUBLE) AS upper
  FROM (SELECT file, digest, entry, unnest(from_json(r->'$.sections', '["json"]')) AS s FROM shards
    WHERE plan->>'$.section_mean' <> 'datasets')
  UNION ALL
  SELECT file, digest, entry, name, CAST(d->>'$.score' AS DOUBLE),
    CAST(d->>'$.score' AS DOUBLE) * CAST(d->>'$.counted' AS BIGINT) / 100, CAST(d->>'$.counted' AS BIGINT),
    CAST(d->>'$.planned' AS BIGINT), CAST(d->>'$.lower' AS DOUBLE), CAST(d->>'$.upper' AS DOUBLE)
  FROM (SELECT file, digest, entry, unnest(json_keys(r->'$.dataset_scores')) AS name,
      unnest(json_extract(r, '$.dataset_scores.*')) AS d FROM shards WHERE plan->>'$.section_mean' = 'datasets')
), of_tasks AS (
  SELECT file, digest, entry, part, avg(CAST(row->>'$.score' AS DOUBLE)) AS score
  FROM (SELECT file, digest, entry, row,
      CASE WHEN by_dataset THEN row->>'$.benchmark' ELSE row->>'$.section' END AS part
    FROM (SELECT file, digest, entry, plan->>'$.section_mean' = 'datasets' AS by_dataset,
        unnest(from_json(r->'$.results', '["json"]')) AS row FROM shards WHERE entry = 0))
  GROUP BY file, digest, entry, part, row->>'$.benchmark', row->>'$.task_id'
), of_rows AS (
  SELECT file, digest, entry, part, 100 * avg(score) AS task_mean FROM of_tasks GROUP BY ALL
), counts AS (
  SELECT file, digest, entry, part, sum(counted) AS counted, sum(lower * planned) AS low, sum(upper * planned) AS high,
    sum(planned) AS seen,
    CASE WHEN count(*) = 1 THEN any_value(score)
      ELSE coalesce(any_value(task_mean), 100 * sum(score_sum) / nullif(sum(counted), 0)) END AS score
  FROM told LEFT JOIN of_rows USING (file, digest, entry, part) GROUP BY ALL
), parts AS (
  SELECT file, digest, entry, section, p.planned, coalesce(counted, 0) AS counted, score, skipped,
    CASE WHEN skipped THEN 0 ELSE coalesce(low, 0) / p.planned END AS lower,
    CASE WHEN skipped THEN 100 ELSE (coalesce(high, 0) + 100 * (p.planned - coalesce(seen, 0))) / p.planned END AS upper
  FROM planned AS p LEFT JOIN counts USING (file, digest, entry, part)
), sections AS (
  SELECT file, digest, entry, section, sum(planned) AS planned, sum(counted) AS counted, bool_or(skipped) AS skipped,
    avg(score) AS score, avg(lower) AS lower, avg(upper) AS upper
  FROM parts GROUP BY ALL
), weighted AS (
  SELECT s.*, CASE WHEN sum(coalesce(weight, 0)) OVER (PARTITION BY file, digest, entry) = 0 THEN 1
    ELSE coalesce(weight, 0) END AS weight
  FROM sections AS s LEFT JOIN weights USING (file, digest, entry, section)
)
