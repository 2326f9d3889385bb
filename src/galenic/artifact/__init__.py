"""Files that go with a model: manifest, model card, packed archive; weights are not changed."""
