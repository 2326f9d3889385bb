"""Finding passages: documents, index, words and vectors. What is said from them is elsewhere."""
