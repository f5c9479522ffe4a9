"""Pretrained encoders and decoders of the Hugging Face ecosystem."""
