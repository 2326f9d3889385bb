"""Where models come from: embedded, shipped doses, the Hub."""
