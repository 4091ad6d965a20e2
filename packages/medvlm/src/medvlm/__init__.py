"""Vision-language models: image encoder, connector, decoder LLM."""
