"""What a stage writes beside a model: manifest, licence, sizes, pack; no weights change here."""
