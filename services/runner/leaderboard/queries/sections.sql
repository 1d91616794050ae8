SELECT id, section AS "Section", round(score, 1) AS "Score", round(lower, 1) AS "Lower", round(upper, 1) AS "Upper",
  counted AS "Counted", planned AS "Planned", round(100 * weight / sum(weight) OVER (PARTITION BY file, digest, entry), 1) AS "Weight %",
  substr(digest, 8, 8) AS "Plan"
FROM entries JOIN weighted USING (file, digest, entry)
ORDER BY section, lower DESC, id, file, entry
