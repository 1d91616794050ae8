"""`python -m services.green_agent.sandbox` is `assay sandbox`: the sandbox image has no runner."""

from services.green_agent.sandbox.cli import main

main()
