"""AWS Bedrock: Converse and ConverseStream for chats, InvokeModel for embeddings."""
