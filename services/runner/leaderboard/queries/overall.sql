SELECT id, round(sum(weight * score) FILTER (score IS NOT NULL) / nullif(sum(weight) FILTER (score IS NOT NULL), 0), 1) AS "Score",
  round(coalesce(sum(weight * lower) / sum(weight), 0), 1) AS "Lower",
  round(coalesce(sum(weight * upper) / sum(weight), 100), 1) AS "Upper",
  round(CASE WHEN coalesce(sum(planned), 0) = 0 THEN 1 ELSE sum(counted) / sum(planned) END, 4) AS "Coverage",
  coalesce(sum(counted), 0) AS "Counted", coalesce(sum(planned), 0) AS "Planned",
  coalesce(sum(counted) = sum(planned) AND NOT bool_or(skipped), true) AS "Complete", substr(digest, 8, 8) AS "Plan"
FROM entries LEFT JOIN weighted USING (file, digest, entry)
GROUP BY id, file, digest, entry
ORDER BY coalesce(sum(weight * lower) / sum(weight), 0) DESC, id, file, entry
