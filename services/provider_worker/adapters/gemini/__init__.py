"""Google's generateContent API, as served by AI Studio and Vertex AI."""
