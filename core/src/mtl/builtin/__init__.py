"""The core's own components, brought through the same door as everybody's."""
