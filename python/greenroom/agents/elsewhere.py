"""Names of the official framework that are not here, and why: loaded only when a program asks for one."""

from __future__ import annotations

from types import FrameType

__all__ = ["explain", "refusal"]

_VOICE = frozenset(
    """
    AMD AMDCategory AMDPredictionEvent Agent AgentConfigUpdate AgentEvent AgentFalseInterruptionEvent AgentHandoff
    AgentHandoffEvent AgentSession AgentStateChangedEvent AgentTask AgentsConsole AudioConfig AudioRecognition
    BackgroundAudioPlayer BuiltinAudioClip ChatContent ChatContext ChatItem ChatMessage ChatMessageEvent ChatRole
    CloseEvent CloseReason ConversationItemAddedEvent EndpointingOptions ErrorEvent EventAssert EventRangeAssert
    ExpressiveOptions FlushSentinel FunctionCall FunctionCallEvent FunctionCallOutput FunctionCallOutputEvent
    FunctionTool FunctionToolsExecutedEvent InterruptionOptions KeytermDetectionOptions KeytermsOptions LanguageCode
    MetricsCollectedEvent ModelSettings NonverbalOptions PlayHandle PreemptiveGenerationOptions ProviderTool
    RecordingOptions RoomIO RoomInputOptions RoomOutputOptions RunAssert RunContext RunEvent RunOutputOptions RunResult
    STTContextOptions SessionUsageUpdatedEvent SpeechCreatedEvent SpeechSteeringOptions StopResponse ToolCallEnded
    ToolCallStarted ToolCallUpdated ToolContext ToolError ToolExecutionUpdatedEvent ToolReplyUpdated ToolResult
    TurnHandlingOptions UnexpectedModelBehavior UserInputTranscribedEvent UserStateChangedEvent
    UserTranscriptionTimeoutEvent UserTurnExceededEvent UserTurnLimitOptions
    avatar beta evals function_tool io language llm mock_tools room_io stt text_transforms tokenize transcription tts
    vad voice voice_assistant
    """.split()
)
_MODELS = frozenset(
    """
    APIConnectOptions APIConnectionError APIError APIStatusError APITimeoutError DEFAULT_API_CONNECT_OPTIONS
    create_api_error_from_http inference inference_runner metrics observability telemetry
    """.split()
)
_INSIDE = frozenset(
    """
    AsyncPipe IPC_MESSAGES JobExecutor JobStatus Log StartJobRequest StartJobResponse apipe consts exceptions
    http_server ipc ipc_enc job_context job_request jupyter log
    """.split()
)


def explain(name: str) -> str | None:
    """Why a name of the official framework is not here; None for names that it has not either."""
    if name in _VOICE:
        return "voice sessions belong to livekit-agents; greenroom moves media, and what thinks about it is yours"
    if name in _MODELS:
        return "calls of models belong to livekit-agents; greenroom moves media, and what thinks about it is yours"
    if name in _INSIDE:
        return "it is a part of how livekit-agents works inside, and greenroom works otherwise"
    return None


def refusal(module: str, name: str, caller: FrameType) -> Exception:
    """What to raise when a module is asked for a name that is not here.

    Args:
        module: the module.
        name: the name.
        caller: who asks; `from module import name` needs an ImportError to show what it says.
    """
    why = explain(name)
    if why is None:
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    text = f"{module} has no {name}: {why}"
    if caller.f_globals.get("__name__") == "importlib._bootstrap":
        return ImportError(text, name=module)
    return AttributeError(text)
