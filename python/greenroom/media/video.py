"""`VideoFrame`: one picture in one of eleven encodings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import FrameError
from greenroom.media.video_buffer import flat_view, layout_of, parse_type
from greenroom.media.video_types import ColorMatrix, ColorRange, ScaleFilter, VideoBufferType, VideoRotation

if TYPE_CHECKING:
    import av
    from numpy.typing import NDArray
    from PIL import Image
    from pydantic_core import core_schema
    from typing_extensions import Buffer

__all__ = ["VideoFrame"]


class VideoFrame:
    """A picture: its size, its encoding, and bytes that it shares with whoever made it.

    The type says what the bytes are; nothing is converted until `convert` is called. Planes follow one another without
    gaps, rows as well (docs/frames.md draws each encoding). Frames made by this module reuse memory: once a frame and
    every view of it are gone, the next frame of that size takes its place.

    Args:
        width: in pixels, 1 to 16384.
        height: in pixels, 1 to 16384.
        type: one of the eleven encodings.
        data: exactly the bytes that size and type ask for, in any contiguous buffer. It is not copied: what is
            written to it later shows in the frame, and the frame can be written when the buffer can.

    Raises:
        FrameError: the size, type or length is wrong; the message says which length would be right.
        ArgumentError: something is of another type, e.g. `data` is no buffer.
    """

    __slots__ = ("__weakref__", "_data", "_height", "_layout", "_type", "_width")

    def __init__(self, width: int, height: int, type: VideoBufferType | int, data: Buffer) -> None:
        self._type = parse_type(type)
        self._layout = layout_of(self._type, width, height)
        self._width = int(width)
        self._height = int(height)
        self._data = flat_view(data, self._type)
        if self._data.nbytes != self._layout.size:
            raise FrameError(
                f"{self._type.name} of {width}x{height} needs {self._layout.size} bytes, got {self._data.nbytes}"
            )

    @classmethod
    def from_planes(
        cls, width: int, height: int, type: VideoBufferType | int, planes: Sequence[tuple[Buffer, int]]
    ) -> VideoFrame:
        """A frame that copies planes with any strides.

        Args:
            width: in pixels.
            height: in pixels.
            type: one of the eleven encodings.
            planes: for each plane its buffer, from the first to at least the last pixel, and its stride in bytes.

        Raises:
            FrameError: the number of planes, a stride or a length is wrong.
        """
        type = parse_type(type)
        frame = _blank(width, height, type)
        pairs = check.several("planes", planes, tuple)
        source = [(flat_view(plane, type), check.index("stride", stride)) for plane, stride in pairs]
        _engine.convert_planes(type, (width, height), source, type, frame._strided_planes())
        return frame

    @classmethod
    def from_ndarray(
        cls,
        array: NDArray[Any],
        type: VideoBufferType | int = VideoBufferType.RGBA,
        *,
        width: int | None = None,
        height: int | None = None,
    ) -> VideoFrame:
        """A frame over a numpy array: the same memory if it is contiguous, else a copy.

        Args:
            array: uint8 (uint16 for I010). Packed types: (height, width, 4 or 3). I444: (3, height, width). Others:
                rows as OpenCV has them, e.g. (height * 3 // 2, width) for I420 and NV12, or, with `width` and `height`,
                any shape with the right number of items.
            type: one of the eleven encodings.
            width: in pixels, where the shape does not tell.
            height: in pixels, likewise.

        Raises:
            FrameError: the dtype or the shape does not fit.
        """
        from greenroom.media.video_arrays import frame_parts

        return cls(*frame_parts(array, parse_type(type), width, height))

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self._width

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self._height

    @property
    def type(self) -> VideoBufferType:
        """The encoding."""
        return self._type

    @property
    def data(self) -> memoryview:
        """All bytes, shared with the frame; writable when the buffer it was made from is."""
        return memoryview(self._data)

    def get_plane(self, plane_nth: int) -> memoryview | None:
        """The bytes of one plane, shared with the frame, rows without gaps.

        Returns:
            None for a plane that the encoding does not have; packed encodings have none.
        """
        planes = self._layout.planes
        if len(planes) == 1 or not 0 <= plane_nth < len(planes):
            return None
        plane = planes[plane_nth]
        return self._data[plane.offset : plane.offset + plane.size]

    def convert(
        self,
        type: VideoBufferType | int,
        *,
        flip_y: bool = False,
        out: Buffer | None = None,
        matrix: ColorMatrix = ColorMatrix.BT601,
        range: ColorRange = ColorRange.LIMITED,
    ) -> VideoFrame:
        """The same picture in another encoding; all pairs work. The GIL is released meanwhile.

        Alpha is kept where both encodings have it, and opaque where only the new one does. Chroma is averaged on the
        way to fewer samples and repeated on the way to more.

        Args:
            type: the new encoding; the same one gives a copy.
            flip_y: also turn the picture upside down.
            out: writable memory of exactly the right length to convert into. None = memory of a former frame, or new.
            matrix: weights between RGB and YUV.
            range: codes of the YUV side.

        Raises:
            FrameError: the type is unknown; `out` is read-only, has another length, or overlaps this frame.
        """
        type = parse_type(type)
        if out is None:
            frame = _blank(self._width, self._height, type)
        else:
            frame = VideoFrame(self._width, self._height, type, out)
        _engine.convert_frame(
            self._type,
            (self._width, self._height),
            self._data,
            type,
            frame._data,
            flip_y=bool(flip_y),
            matrix=check.member("matrix", matrix, ColorMatrix),
            range=check.member("range", range, ColorRange),
        )
        return frame

    def resize(self, width: int, height: int, filter: ScaleFilter = ScaleFilter.BILINEAR) -> VideoFrame:
        """The picture scaled to another size, in the same encoding.

        Raises:
            FrameError: a size below 1 or above 16384.
        """
        filter = check.member("filter", filter, ScaleFilter)
        frame = _blank(width, height, self._type)
        size, new_size = (self._width, self._height), (frame._width, frame._height)
        _engine.resize_frame(self._type, size, self._data, new_size, filter, frame._data)
        return frame

    def rotate(self, rotation: VideoRotation | int) -> VideoFrame:
        """The picture turned clockwise, in the same encoding: `event.frame.rotate(event.rotation)` is upright.

        Args:
            rotation: a `VideoRotation` or its number, 0 to 3; or degrees: 90, 180 or 270.

        Raises:
            FrameError: another number.
        """
        number = check.index("rotation", rotation)
        degrees = number * 90 if number in (0, 1, 2, 3) else number
        size = (self._width, self._height)
        frame = _blank(*(size if degrees % 180 == 0 else size[::-1]), self._type)
        _engine.rotate_frame(self._type, size, self._data, degrees, frame._data)
        return frame

    def crop(self, x: int, y: int, width: int, height: int) -> VideoFrame:
        """A copy of a rectangle, in the same encoding.

        Args:
            x: left edge. Encodings with halved chroma begin at an even pixel: an odd `x` counts as one less.
            y: top edge, likewise.
            width: of the rectangle.
            height: of the rectangle.

        Raises:
            FrameError: the rectangle is empty or does not lie within the picture.
        """
        frame = _blank(width, height, self._type)
        rectangle = (check.index("x", x), check.index("y", y), frame._width, frame._height)
        _engine.crop_frame(self._type, (self._width, self._height), self._data, rectangle, frame._data)
        return frame

    def to_ndarray(self) -> NDArray[Any]:
        """The pixels as a numpy array that shares memory with the frame.

        Returns:
            uint8 (uint16 for I010). Packed types: (height, width, 4 or 3). I444: (3, height, width). Others: rows as
            OpenCV has them, e.g. (height * 3 // 2, width) for I420 and NV12, or all items flat where the size is odd.
        """
        from greenroom.media.video_arrays import to_ndarray

        return to_ndarray(self)

    def plane_arrays(self) -> list[NDArray[Any]]:
        """Each plane as a numpy array (rows, columns) that shares memory; NV12's second one is (rows, columns, 2).

        Packed types have one: (height, width, 4 or 3).
        """
        from greenroom.media.video_arrays import plane_arrays

        return plane_arrays(self)

    def to_pil(self) -> Image.Image:
        """A Pillow image, RGB or RGBA: shared memory for RGBA and RGB24, converted for the others."""
        from greenroom.media.video_images import to_pil

        return to_pil(self)

    @classmethod
    def from_pil(cls, image: Image.Image) -> VideoFrame:
        """An RGBA frame of a Pillow image with alpha, an RGB24 frame of any other."""
        from greenroom.media.video_images import from_pil

        return from_pil(image)

    def to_av(self) -> av.VideoFrame:
        """A PyAV frame of the same encoding; the pixels are copied."""
        from greenroom.media.video_images import to_av

        return to_av(self)

    @classmethod
    def from_av(cls, frame: av.VideoFrame) -> VideoFrame:
        """A frame of the same encoding as a PyAV frame; the pixels are copied.

        Raises:
            FrameError: none of the eleven encodings has its format; `frame.reformat` first.
        """
        from greenroom.media.video_images import from_av

        return from_av(frame)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        from greenroom.media.video_arrays import array_shape

        shape, typestr = array_shape(self)
        return {"version": 3, "shape": shape, "typestr": typestr, "data": self._data}

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._data)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.to_ndarray().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __repr__(self) -> str:
        return f"rtc.VideoFrame(width={self._width}, height={self._height}, type={self._type.name})"

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> core_schema.CoreSchema:
        from greenroom.media.video_schema import video_frame_schema

        return video_frame_schema()

    def _strided_planes(self) -> list[tuple[memoryview, int]]:
        return [(self._data[plane.offset : plane.offset + plane.size], plane.row) for plane in self._layout.planes]


def _blank(width: int, height: int, type: VideoBufferType) -> VideoFrame:
    layout_of(type, width, height)
    return VideoFrame(width, height, type, _engine.new_frame_buffer(type, width, height))
