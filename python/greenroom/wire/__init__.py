"""LiveKit messages to and from bytes: signalling, join requests, data packets, tokens, Twirp, webhooks.

The generated message classes of `livekit-protocol` are this project's wire values; they are imported in
`greenroom.wire.messages` and nowhere else. Layers above pass them on;
no public signature names one.
"""
