// NIO's decoder of HTTP/1 requests with the two things that it does not say: that a request has begun, and which part of a head was too long.

import NIOCore
import NIOHTTP1

/// The target alone is longer than `HTTPLimits.field` or `HTTPLimits.head`.
struct HTTPTargetTooLong: Error {}

/// Told of what no message says.
protocol HTTPDecodingObserver: AnyObject {
    /// Messages so far; a request's head, a piece of its body and its end are one each.
    var messages: Int { get }
    /// Some bytes of a request are here, and its head is not complete.
    func headIsIncomplete()
}

struct BoundedHTTPDecoder: ByteToMessageDecoder {
    typealias InboundOut = HTTPServerRequestPart

    private let decoder: HTTPRequestDecoder
    private let observer: any HTTPDecodingObserver
    /// Whether the line with the target of the request that is being read has ended.
    private var lineHasEnded = false
    private let longestTarget: Int

    init(_ limits: HTTPLimits, observer: any HTTPDecodingObserver) {
        var configuration = NIOHTTPDecoderLimitConfiguration()
        // The target counts as a field to it. One byte more, so that a target of just more than its bound is seen whole and refused by name.
        configuration.maxHeaderFieldSize = max(limits.field, limits.target + 1)
        configuration.maxHeaderListSize = max(limits.head, limits.target + 1)
        configuration.maxHeaderFieldCount = limits.fields
        self.decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: configuration)
        self.observer = observer
        self.longestTarget = limits.target
    }

    mutating func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        let before = self.observer.messages
        let unread = buffer
        do {
            let state = try self.decoder.decode(context: context, buffer: &buffer)
            if self.observer.messages != before {
                self.lineHasEnded = false
                if buffer.readableBytes > 0 { self.observer.headIsIncomplete() }
            } else if unread.readableBytes > 0 {
                self.lineHasEnded = self.lineHasEnded || unread.readableBytesView.contains(0x0A)
                self.observer.headIsIncomplete()
            }
            return state
        } catch HTTPParserError.headerOverflow {
            // What was kept of an incomplete line begins with the target, and a line that came at once with the method before it.
            let isTarget =
                self.observer.messages == before && !self.lineHasEnded
                && !unread.readableBytesView.prefix(self.longestTarget).contains(0x0A)
            throw isTarget ? HTTPTargetTooLong() : HTTPParserError.headerOverflow
        }
    }

    mutating func decodeLast(context: ChannelHandlerContext, buffer: inout ByteBuffer, seenEOF: Bool) throws -> DecodingState {
        try self.decoder.decodeLast(context: context, buffer: &buffer, seenEOF: seenEOF)
    }

    func decoderAdded(context: ChannelHandlerContext) { self.decoder.decoderAdded(context: context) }

    func decoderRemoved(context: ChannelHandlerContext) { self.decoder.decoderRemoved(context: context) }
}
