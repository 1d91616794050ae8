"""`assay evaluate`: check, launch, wait, run, export, clean up, in one command. Code-and-math specification 12."""
