"""What `greenroom.wire.messages` has, once it is used. The only module that imports `livekit.protocol`."""

from google.protobuf.message import DecodeError as DecodeError
from google.protobuf.message import Message as Message
from livekit.protocol import agent, agent_dispatch, models, room, rtc, webhook

# Signalling
AddTrackRequest = rtc.AddTrackRequest
ConnectionQualityInfo = rtc.ConnectionQualityInfo
ConnectionQualityUpdate = rtc.ConnectionQualityUpdate
ConnectionSettings = rtc.ConnectionSettings
DataChannelInfo = rtc.DataChannelInfo
DataChannelReceiveState = rtc.DataChannelReceiveState
DataTrackSubscriberHandles = rtc.DataTrackSubscriberHandles
ICEServer = rtc.ICEServer
JoinRequest = rtc.JoinRequest
JoinResponse = rtc.JoinResponse
LeaveRequest = rtc.LeaveRequest
MediaSectionsRequirement = rtc.MediaSectionsRequirement
MuteTrackRequest = rtc.MuteTrackRequest
ParticipantUpdate = rtc.ParticipantUpdate
Ping = rtc.Ping
Pong = rtc.Pong
PublishDataTrackRequest = rtc.PublishDataTrackRequest
PublishDataTrackResponse = rtc.PublishDataTrackResponse
ReconnectResponse = rtc.ReconnectResponse
RequestResponse = rtc.RequestResponse
RoomUpdate = rtc.RoomUpdate
SessionDescription = rtc.SessionDescription
SignalRequest = rtc.SignalRequest
SignalResponse = rtc.SignalResponse
SignalTarget = rtc.SignalTarget
SimulateScenario = rtc.SimulateScenario
SimulcastCodec = rtc.SimulcastCodec
SpeakersChanged = rtc.SpeakersChanged
StreamState = rtc.StreamState
StreamStateInfo = rtc.StreamStateInfo
StreamStateUpdate = rtc.StreamStateUpdate
SubscribedCodec = rtc.SubscribedCodec
SubscribedQuality = rtc.SubscribedQuality
SubscribedQualityUpdate = rtc.SubscribedQualityUpdate
SubscriptionPermission = rtc.SubscriptionPermission
SubscriptionPermissionUpdate = rtc.SubscriptionPermissionUpdate
SubscriptionResponse = rtc.SubscriptionResponse
SyncState = rtc.SyncState
TrackPermission = rtc.TrackPermission
TrackPublishedResponse = rtc.TrackPublishedResponse
TrackSubscribed = rtc.TrackSubscribed
TrackUnpublishedResponse = rtc.TrackUnpublishedResponse
TrickleRequest = rtc.TrickleRequest
UnpublishDataTrackRequest = rtc.UnpublishDataTrackRequest
UnpublishDataTrackResponse = rtc.UnpublishDataTrackResponse
UpdateDataSubscription = rtc.UpdateDataSubscription
UpdateLocalAudioTrack = rtc.UpdateLocalAudioTrack
UpdateLocalVideoTrack = rtc.UpdateLocalVideoTrack
UpdateParticipantMetadata = rtc.UpdateParticipantMetadata
UpdateSubscription = rtc.UpdateSubscription
UpdateTrackSettings = rtc.UpdateTrackSettings
WrappedJoinRequest = rtc.WrappedJoinRequest

# Rooms, participants, tracks
AudioTrackFeature = models.AudioTrackFeature
BackupCodecPolicy = models.BackupCodecPolicy
ClientConfigSetting = models.ClientConfigSetting
ClientConfiguration = models.ClientConfiguration
ClientInfo = models.ClientInfo
Codec = models.Codec
ConnectionQuality = models.ConnectionQuality
DataTrackInfo = models.DataTrackInfo
DisconnectReason = models.DisconnectReason
Encryption = models.Encryption
ParticipantInfo = models.ParticipantInfo
ParticipantPermission = models.ParticipantPermission
ParticipantTracks = models.ParticipantTracks
ReconnectReason = models.ReconnectReason
Room = models.Room
ServerInfo = models.ServerInfo
SimulcastCodecInfo = models.SimulcastCodecInfo
SpeakerInfo = models.SpeakerInfo
SubscriptionError = models.SubscriptionError
TimedVersion = models.TimedVersion
TrackInfo = models.TrackInfo
TrackSource = models.TrackSource
TrackType = models.TrackType
VideoLayer = models.VideoLayer
VideoQuality = models.VideoQuality

# Data
ActiveSpeakerUpdate = models.ActiveSpeakerUpdate
ChatMessage = models.ChatMessage
DataPacket = models.DataPacket
DataStream = models.DataStream
EncryptedPacket = models.EncryptedPacket
EncryptedPacketPayload = models.EncryptedPacketPayload
RpcAck = models.RpcAck
RpcError = models.RpcError
RpcRequest = models.RpcRequest
RpcResponse = models.RpcResponse
SipDTMF = models.SipDTMF
Transcription = models.Transcription
TranscriptionSegment = models.TranscriptionSegment
UserPacket = models.UserPacket

# Room service
CreateRoomRequest = room.CreateRoomRequest
DeleteRoomRequest = room.DeleteRoomRequest
DeleteRoomResponse = room.DeleteRoomResponse
ForwardParticipantRequest = room.ForwardParticipantRequest
ForwardParticipantResponse = room.ForwardParticipantResponse
ListParticipantsRequest = room.ListParticipantsRequest
ListParticipantsResponse = room.ListParticipantsResponse
ListRoomsRequest = room.ListRoomsRequest
ListRoomsResponse = room.ListRoomsResponse
MoveParticipantRequest = room.MoveParticipantRequest
MoveParticipantResponse = room.MoveParticipantResponse
MuteRoomTrackRequest = room.MuteRoomTrackRequest
MuteRoomTrackResponse = room.MuteRoomTrackResponse
PerformRpcRequest = room.PerformRpcRequest
PerformRpcResponse = room.PerformRpcResponse
RemoveParticipantResponse = room.RemoveParticipantResponse
RoomConfiguration = room.RoomConfiguration
RoomParticipantIdentity = room.RoomParticipantIdentity
SendDataRequest = room.SendDataRequest
SendDataResponse = room.SendDataResponse
UpdateParticipantRequest = room.UpdateParticipantRequest
UpdateRoomMetadataRequest = room.UpdateRoomMetadataRequest
UpdateSubscriptionsRequest = room.UpdateSubscriptionsRequest
UpdateSubscriptionsResponse = room.UpdateSubscriptionsResponse

# Agents
AgentDispatch = agent_dispatch.AgentDispatch
AgentDispatchState = agent_dispatch.AgentDispatchState
AvailabilityRequest = agent.AvailabilityRequest
AvailabilityResponse = agent.AvailabilityResponse
CreateAgentDispatchRequest = agent_dispatch.CreateAgentDispatchRequest
DeleteAgentDispatchRequest = agent_dispatch.DeleteAgentDispatchRequest
Job = agent.Job
JobAssignment = agent.JobAssignment
JobState = agent.JobState
JobStatus = agent.JobStatus
JobRestartPolicy = agent_dispatch.JobRestartPolicy
JobTermination = agent.JobTermination
JobType = agent.JobType
ListAgentDispatchRequest = agent_dispatch.ListAgentDispatchRequest
ListAgentDispatchResponse = agent_dispatch.ListAgentDispatchResponse
MigrateJobRequest = agent.MigrateJobRequest
RegisterWorkerRequest = agent.RegisterWorkerRequest
RegisterWorkerResponse = agent.RegisterWorkerResponse
RoomAgentDispatch = agent_dispatch.RoomAgentDispatch
ServerMessage = agent.ServerMessage
UpdateJobStatus = agent.UpdateJobStatus
UpdateWorkerStatus = agent.UpdateWorkerStatus
WorkerMessage = agent.WorkerMessage
WorkerPing = agent.WorkerPing
WorkerPong = agent.WorkerPong
WorkerStatus = agent.WorkerStatus

WebhookEvent = webhook.WebhookEvent
