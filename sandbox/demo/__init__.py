"""The demo: the main job, shown and measured in the sandbox."""
