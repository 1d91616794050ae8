"""The services of Assay. Each imports `services.contract` and itself, nothing else of this package."""
