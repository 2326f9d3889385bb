"""HTTP server for one model: OpenAI-compatible API, health assistant and web page."""
