"""Verdicts on code: reply to program, program to calls, values to verdict. Pure but for the sandbox."""
