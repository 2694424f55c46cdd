"""The stack of one tenant as CDK code: reads tenant files and connector manifests, imports crossdock.domain only."""
