"""Google's generateContent dialect, as AI Studio and Vertex AI speak it."""
