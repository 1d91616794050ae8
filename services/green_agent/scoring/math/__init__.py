"""Verdicts on mathematical answers: reply to answer, answer to normal form and kind, equality by rule or by a judge."""
