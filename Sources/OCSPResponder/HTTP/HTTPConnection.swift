// One HTTP connection: requests in, responses out in the order of the requests, and an end for peers that are slow.

import NIOCore
import NIOHTTP1

/// The handler behind the decoder. Responses to what one read brought leave in one write; an answer that has to be waited for holds back those of
/// later requests, and more requests are read only while there is room for their answers.
final class HTTPConnection: ChannelDuplexHandler, HTTPDecodingObserver {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Which socket the connection came to.
    enum Purpose: Sendable { case publication, metrics }

    /// A request whose end has not come.
    private struct Incoming {
        var head: HTTPRequestHead
        var facts: HTTPRequestFacts
        var plan: Plan
        var body: ByteBuffer?
        var bodyBytes = 0
    }

    private enum Plan {
        case postedRequest
        case path
        case refusal(HTTPMessage)
    }

    /// The place of a response in the order.
    private enum Slot {
        case waiting(HTTPReplyForm, since: NIODeadline, bytes: Int)
        case ready(HTTPReply, HTTPReplyForm)
        /// What is published when its turn comes: a list that was replaced meanwhile is not kept for it.
        case document(RequestTarget.Document, HTTPReplyForm)
    }

    /// A body too long to be copied as a whole for each client.
    private struct Stream {
        let der: [UInt8]
        var sent = 0
        /// The tick at which the peer has had time enough.
        let deadline: Int64
    }

    private enum Phase {
        case open
        /// Nothing more is heeded of what comes; `lingers`: the peer may be sending still.
        case ending(lingers: Bool)
        /// The last response is on its way.
        case finishing
        /// All has been written; what comes is thrown away until the peer has read and closed.
        case lingering
        case closed
    }

    /// What the deadline is for.
    private enum Watch { case nothing, request, idle, write, linger }

    private static let pieceOfStream = 64 * 1024
    private static let longestUnstreamed = 4 * 1024
    private static let mostThrownAway = 1024 * 1024

    private let loop: HTTPLoop
    private let purpose: Purpose
    private var context: ChannelHandlerContext?

    private(set) var messages = 0
    private var incoming: Incoming?
    /// Part of a head is here.
    private var hasBegun = false
    private var phase = Phase.open
    private var inputIsClosed = false
    private var thrownAway = 0

    private var slots = CircularBuffer<Slot>()
    /// The number of the first slot; slots are numbered in the order of their requests.
    private var firstSlot: UInt64 = 0
    /// Bytes of the requests that wait for their answers.
    private var waitingBytes = 0
    private var stream: Stream?
    private var out = ByteBuffer()
    /// While a read is being taken apart, responses are gathered.
    private var isReading = false
    private var isSending = false
    private var isWritable = true
    /// A read was asked for and waits until there is room.
    private var readIsHeld = false

    private var watch = Watch.nothing
    private var deadline: Int64 = 0

    init(_ loop: HTTPLoop, _ purpose: Purpose) {
        self.loop = loop
        self.purpose = purpose
    }

    // MARK: Events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.add(self)
        self.watchAnew()
        if self.loop.isStopping { context.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.phase = .closed
        self.context = nil
        self.slots.removeAll()
        self.stream = nil
        self.incoming = nil
        self.loop.remove(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.isReading = true
        self.messages &+= 1
        let part = Self.unwrapInboundIn(data)
        guard case .open = self.phase else {
            if case .body(let piece) = part { self.throwAway(piece.readableBytes) }
            return
        }
        switch part {
        case .head(let head): self.take(head)
        case .body(let piece): self.take(piece)
        case .end: self.takeEnd()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        self.send()
        self.watchAnew()
    }

    func headIsIncomplete() {
        // While a body is read there may be messages of the decoder's own, such as the size of a chunk.
        if self.incoming == nil { self.hasBegun = true }
    }

    func read(context: ChannelHandlerContext) {
        if self.hasRoom { context.read() } else { self.readIsHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.isWritable = context.channel.isWritable
        self.watch = .nothing
        self.send()
        self.watchAnew()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        self.inputIsClosed = true
        switch self.phase {
        // Answers to what came before the end still go out.
        case .open: self.end(lingers: false)
        case .lingering: context.close(promise: nil)
        case .ending, .finishing, .closed: break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if case ByteToMessageDecoderError.dataReceivedInErrorState(_, let bytes) = error {
            self.throwAway(bytes.readableBytes)
            return
        }
        guard case .open = self.phase else {
            if !(error is HTTPParserError) { context.close(promise: nil) }
            return
        }
        guard let refusal = Self.refusal(of: error) else {
            context.close(promise: nil)
            return
        }
        self.refuseAndEnd(refusal)
    }

    /// The response to what is no HTTP request; nil where the connection itself failed.
    private static func refusal(of error: any Error) -> HTTPMessage? {
        switch error {
        case is HTTPTargetTooLong: .targetTooLong
        case HTTPParserError.headerOverflow: HTTPMessage(.headerFieldsTooLarge, "the header fields are too long")
        case HTTPParserError.invalidVersion: HTTPMessage(.versionNotSupported, "HTTP/1.1 and HTTP/1.0 are spoken here")
        case is HTTPParserError: HTTPMessage(.badRequest, "this is no HTTP request")
        default: nil
        }
    }

    // MARK: Requests

    private func take(_ head: HTTPRequestHead) {
        self.hasBegun = false
        var facts = HTTPRequestFacts(head)
        if self.loop.isStopping { facts.closes = true }
        self.loop.counters.count(facts.method)
        let plan = self.plan(head, facts)
        if let length = facts.contentLength, length > self.loop.service.limits.body {
            self.incoming = Incoming(head: head, facts: facts, plan: plan)
            self.refuseAndEnd(.bodyTooLong)
            return
        }
        switch (facts.expectation, plan) {
        case (.none, _): break
        case (.proceed, .postedRequest), (.proceed, .path):
            // To HTTP/1.0 it means nothing (RFC 9110 10.1.1).
            if !facts.isOld { self.submit(.proceed, HTTPReplyForm()) }
        case (.proceed, .refusal(let message)):
            // The client may send the body or not, and nobody could tell it from the next request.
            self.incoming = Incoming(head: head, facts: facts, plan: plan)
            self.refuseAndEnd(message)
            return
        case (.unknown, _):
            self.incoming = Incoming(head: head, facts: facts, plan: plan)
            self.refuseAndEnd(HTTPMessage(.expectationFailed, "of expectations only 100-continue is known here"))
            return
        }
        self.incoming = Incoming(head: head, facts: facts, plan: plan)
    }

    /// What is to be done once the request has ended.
    private func plan(_ head: HTTPRequestHead, _ facts: HTTPRequestFacts) -> Plan {
        // RFC 9112 3.2: exactly one in HTTP/1.1.
        guard facts.hosts == 1 || facts.isOld && facts.hosts == 0 else {
            return .refusal(HTTPMessage(.badRequest, "a request has exactly one Host field"))
        }
        guard head.uri.utf8.count <= self.loop.service.limits.target else { return .refusal(.targetTooLong) }
        // RFC 9112 3.2 has no fragment: a proxy that cuts one off would keep the answer under another name than it was asked for.
        guard !head.uri.utf8.contains(UInt8(ascii: "#")) else {
            return .refusal(HTTPMessage(.badRequest, "a request target has no fragment"))
        }
        if case .get = facts.method { return .path }
        if case .head = facts.method { return .path }
        let methods = self.methods(of: head.uri)
        guard case .post = facts.method, methods.hasPost else { return .refusal(.wrongMethod(methods.names)) }
        guard facts.isOCSPRequest else { return .refusal(HTTPMessage(.unsupportedMediaType, "a POST carries application/ocsp-request")) }
        return .postedRequest
    }

    /// What a resource can be asked with.
    private func methods(of uri: String) -> (names: StaticString, hasPost: Bool) {
        var uri = uri
        return uri.withUTF8 { bytes in
            let target = RequestTarget(UnsafeRawBufferPointer(bytes))
            guard self.purpose == .publication, target.document == nil else { return ("GET, HEAD", false) }
            return target.isResponder ? ("POST", true) : ("GET, HEAD, POST", true)
        }
    }

    private func take(_ piece: ByteBuffer) {
        guard var incoming = self.incoming else { return }
        // No copy of its buffer in two places while it grows.
        self.incoming = nil
        defer { if case .open = self.phase { self.incoming = incoming } }
        incoming.bodyBytes += piece.readableBytes
        guard incoming.bodyBytes <= self.loop.service.limits.body else {
            self.incoming = incoming
            self.refuseAndEnd(.bodyTooLong)
            return
        }
        guard case .postedRequest = incoming.plan else { return }
        if incoming.body == nil { incoming.body = piece } else { incoming.body?.writeImmutableBuffer(piece) }
    }

    private func takeEnd() {
        guard let incoming = self.incoming else { return }
        self.incoming = nil
        // The next one has its own time.
        if self.watch == .request { self.watch = .nothing }
        var form = Self.form(incoming.facts)
        switch incoming.plan {
        case .refusal(let message): self.submit(.message(message), form)
        case .postedRequest:
            form.ifNoneMatch = nil
            let body = incoming.body ?? ByteBuffer()
            body.withUnsafeReadableBytes { self.ask($0, form) }
        case .path: self.answerPath(incoming.head.uri, form)
        }
        if form.closes { self.end(lingers: false) }
    }

    private static func form(_ facts: HTTPRequestFacts) -> HTTPReplyForm {
        HTTPReplyForm(
            headOnly: facts.method == .head, closes: facts.closes, keepsOld: facts.isOld && !facts.closes, ifNoneMatch: facts.ifNoneMatch)
    }

    /// GET and HEAD.
    ///
    /// What decodes to one DER value is an OCSP request, whatever its last characters spell; then come the documents' names. Of the rest, the
    /// responder's own path knows POST alone (405), a name with a dot is a file that is not here (404), and all else is taken for an OCSP request
    /// that cannot be read, which OCSP answers itself.
    private func answerPath(_ uri: String, _ form: HTTPReplyForm) {
        var uri = uri
        uri.withUTF8 { bytes in
            let target = RequestTarget(UnsafeRawBufferPointer(bytes))
            if self.purpose == .publication, self.askForPath(target, form) { return }
            self.submit(self.reply(to: target), form)
        }
    }

    /// - Returns: whether there was a request in the path.
    private func askForPath(_ target: RequestTarget, _ form: HTTPReplyForm) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: target.roomForRequest, alignment: 1) { space in
            guard let count = target.decodeRequest(into: space) else { return false }
            self.ask(UnsafeRawBufferPointer(rebasing: space[..<count]), form)
            return true
        }
    }

    private func reply(to target: RequestTarget) -> HTTPReply {
        switch (self.purpose, target.document) {
        case (_, .health): return .message(.health(self.loop.service.answering.complaints))
        case (.metrics, .metrics):
            var message = HTTPMessage(.ok, "")
            message.type = "text/plain; version=0.0.4; charset=utf-8"
            message.body = Array(self.loop.service.metricsText().utf8)
            return .message(message)
        case (.metrics, .status):
            var message = HTTPMessage(.ok, "")
            message.type = "application/json"
            message.body = self.loop.service.status()
            return .message(message)
        case (.publication, .authorityCertificate): return self.document(.authorityCertificate, .authorityCertificate)
        case (.publication, .revocationList): return self.document(.revocationList, .revocationList)
        case (.metrics, _), (.publication, .metrics), (.publication, .status): return .message(.notFound)
        case (.publication, nil):
            if target.isResponder {
                return .message(.wrongMethod("POST", "an OCSP request comes by POST, or by GET with its base64 behind this path"))
            }
            if target.isFileName { return .message(.notFound) }
            return .answer(.unreadable)
        }
    }

    private func document(_ kind: PublishedDocument.Kind, _ name: RequestTarget.Document) -> HTTPReply {
        if let document = self.loop.service.answering.document(kind) { return .document(document, name) }
        var message = HTTPMessage(.unavailable, "it is not known yet")
        message.retryAfter = 5
        return .message(message)
    }

    private func ask(_ request: UnsafeRawBufferPointer, _ form: HTTPReplyForm) {
        let number = self.firstSlot &+ UInt64(self.slots.count)
        let this = NIOLoopBound(self, eventLoop: self.loop.eventLoop)
        let answer = self.loop.service.answering.answer(request, on: self.loop.index) { this.value.deliver($0, number) }
        if let answer {
            self.submit(.answer(answer), form)
        } else {
            self.waitingBytes += request.count
            self.slots.append(.waiting(form, since: .now(), bytes: request.count))
        }
    }

    /// The answer to the request with that number has come.
    private func deliver(_ answer: OCSPAnswer, _ number: UInt64) {
        // A number of the past, or of a connection that is gone, finds nothing.
        let offset = number &- self.firstSlot
        guard offset < UInt64(self.slots.count) else { return }
        let index = self.slots.index(self.slots.startIndex, offsetBy: Int(offset))
        guard case .waiting(let form, let since, let bytes) = self.slots[index] else { return }
        self.waitingBytes -= bytes
        self.loop.counters.waited.record(UInt64(max(0, (NIODeadline.now() - since).nanoseconds)))
        self.slots[index] = .ready(.answer(answer), form)
        guard offset == 0 else { return }
        self.writeReady()
        guard !self.isReading else { return }
        self.send()
        self.watchAnew()
    }

    // MARK: Responses

    /// Sends it as soon as those before it are sent.
    private func submit(_ reply: HTTPReply, _ form: HTTPReplyForm) {
        if self.slots.isEmpty, self.stream == nil {
            // It has a number too, as if it had stood in the queue.
            self.firstSlot &+= 1
            self.write(reply, form)
        } else if case .document(_, let name) = reply {
            self.slots.append(.document(name, form))
        } else {
            self.slots.append(.ready(reply, form))
        }
    }

    private func writeReady() {
        while self.stream == nil, let slot = self.slots.first {
            let (reply, form): (HTTPReply, HTTPReplyForm)
            switch slot {
            case .waiting: return
            case .ready(let ready, let its): (reply, form) = (ready, its)
            case .document(let name, let its):
                (reply, form) = (self.document(name == .revocationList ? .revocationList : .authorityCertificate, name), its)
            }
            self.slots.removeFirst()
            self.firstSlot &+= 1
            self.write(reply, form)
        }
    }

    private func write(_ reply: HTTPReply, _ form: HTTPReplyForm) {
        let writer = self.loop.currentWriter()
        let counters = self.loop.counters
        switch reply {
        case .answer(let answer):
            counters.count(answer)
            counters.count(writer.write(answer, form, to: &self.out))
        case .document(let document, let name):
            let (status, hasBody) = writer.write(document, name, form, to: &self.out)
            counters.count(status)
            guard hasBody else { return }
            if document.der.count <= Self.longestUnstreamed {
                self.out.writeBytes(document.der)
            } else {
                self.stream = Stream(der: document.der, deadline: self.deadline(of: document))
            }
        case .message(let message):
            counters.count(message.status)
            writer.write(message, form, to: &self.out)
        case .proceed: self.out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
        }
    }

    /// Writes what is gathered, and of a stream as much as the peer takes.
    private func send() {
        guard !self.isSending, let context = self.context else { return }
        self.isSending = true
        while true {
            if self.out.readableBytes > 0, !self.isLast {
                context.writeAndFlush(Self.wrapOutboundOut(self.out), promise: nil)
                self.out.clear()
            }
            guard self.stream != nil, self.isWritable else { break }
            self.writePiece()
            if self.stream == nil { self.writeReady() }
        }
        self.isSending = false
        if self.isLast { self.sendLast(context) }
        if self.readIsHeld, self.hasRoom {
            self.readIsHeld = false
            context.read()
        }
    }

    private func deadline(of document: PublishedDocument) -> Int64 {
        let times = self.loop.service.times
        return self.loop.deadline(after: times.document + .seconds(document.der.count / max(1, times.documentRate)))
    }

    private func writePiece() {
        guard var stream = self.stream else { return }
        let end = min(stream.der.count, stream.sent + Self.pieceOfStream)
        self.out.writeBytes(stream.der[stream.sent..<end])
        stream.sent = end
        self.stream = end < stream.der.count ? stream : nil
        self.watch = .nothing
    }

    private var hasRoom: Bool {
        guard case .open = self.phase else { return true }
        let limits = self.loop.service.limits
        return self.isWritable && self.stream == nil && self.slots.count < limits.pipelined && self.waitingBytes < limits.pipelinedBytes
    }

    // MARK: Ends

    /// Answers this in its turn, and nothing that comes after it.
    private func refuseAndEnd(_ message: HTTPMessage) {
        var form = self.incoming.map { Self.form($0.facts) } ?? HTTPReplyForm()
        form.closes = true
        form.keepsOld = false
        self.incoming = nil
        self.submit(.message(message), form)
        self.end(lingers: true)
        if !self.isReading {
            self.send()
            self.watchAnew()
        }
    }

    /// Closes the connection once all is answered; nothing more is heeded of what comes.
    private func end(lingers: Bool) {
        guard case .open = self.phase else { return }
        self.phase = .ending(lingers: lingers && !self.inputIsClosed)
        self.incoming = nil
        self.hasBegun = false
        if !self.isReading {
            self.send()
            self.watchAnew()
        }
    }

    /// Whether what is gathered now is the last of the connection.
    private var isLast: Bool {
        guard case .ending = self.phase else { return false }
        return self.slots.isEmpty && self.stream == nil
    }

    private func sendLast(_ context: ChannelHandlerContext) {
        guard case .ending(let lingers) = self.phase else { return }
        self.phase = .finishing
        let last = context.eventLoop.makePromise(of: Void.self)
        let this = NIOLoopBound(self, eventLoop: self.loop.eventLoop)
        last.futureResult.whenComplete { _ in this.value.closeAfterLast(lingers: lingers) }
        // Taken out first: to write may change the writability, and that calls `send` again.
        let bytes = self.out
        self.out = ByteBuffer()
        context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: last)
    }

    /// A socket that is closed with bytes unread takes the response away from a peer that is still sending: such a peer gets time to read it.
    private func closeAfterLast(lingers: Bool) {
        guard let context = self.context else { return }
        guard lingers, !self.inputIsClosed else {
            context.close(promise: nil)
            return
        }
        self.phase = .lingering
        self.watchAnew()
        context.close(mode: .output, promise: nil)
    }

    private func throwAway(_ bytes: Int) {
        self.thrownAway += bytes
        if self.thrownAway > Self.mostThrownAway { self.context?.close(promise: nil) }
    }

    // MARK: Time

    private var wanted: Watch {
        switch self.phase {
        case .lingering: .linger
        case .finishing: .write
        case .closed: .nothing
        case .open, .ending:
            if !self.isWritable || self.stream != nil {
                .write
            } else if self.hasRoom, self.incoming != nil || self.hasBegun {
                .request
            } else {
                self.slots.isEmpty ? .idle : .nothing
            }
        }
    }

    /// Sets the deadline for what is waited for now; a request's runs from its first byte on.
    private func watchAnew() {
        let wanted = self.wanted
        if wanted == self.watch, wanted != .idle { return }
        self.watch = wanted
        let times = self.loop.service.times
        switch wanted {
        case .nothing: break
        case .request: self.deadline = self.loop.deadline(after: times.request)
        case .idle: self.deadline = self.loop.deadline(after: times.idle)
        case .write: self.deadline = self.loop.deadline(after: times.write)
        case .linger: self.deadline = self.loop.deadline(after: times.linger)
        }
    }

    /// Ends the connection where its deadline has passed.
    func look(at tick: Int64) {
        if let stream = self.stream, tick >= stream.deadline {
            self.loop.counters.timedOutWrite.add()
            self.context?.close(promise: nil)
            return
        }
        guard self.watch != .nothing, tick >= self.deadline, let context = self.context else { return }
        switch self.watch {
        case .request:
            self.loop.counters.timedOutRequest.add()
            // The peer is there and slow: it is told, and gets no more time for the rest of its request.
            if self.slots.isEmpty, self.stream == nil, self.isWritable {
                self.write(
                    .message(HTTPMessage(.requestTimeout, "the request did not come to its end in time")), HTTPReplyForm(closes: true))
                context.writeAndFlush(Self.wrapOutboundOut(self.out), promise: nil)
                self.out.clear()
            }
        case .idle: self.loop.counters.timedOutIdle.add()
        case .write: self.loop.counters.timedOutWrite.add()
        case .linger, .nothing: break
        }
        context.close(promise: nil)
    }

    /// Ends the connection once what is in flight is answered.
    func stop() {
        guard case .open = self.phase, self.incoming == nil, !self.hasBegun else { return }
        self.end(lingers: false)
    }

    func cut() { self.context?.close(promise: nil) }
}

extension OCSPAnswer {
    /// RFC 6960 4.2.1: malformedRequest, the response that can be given without reading the request.
    fileprivate static let unreadable = OCSPAnswer(kind: .malformedRequest, der: [0x30, 0x03, 0x0A, 0x01, 0x01])
}

extension HTTPMessage {
    fileprivate static let notFound = HTTPMessage(.notFound, "there is nothing here")
    fileprivate static let targetTooLong = HTTPMessage(.uriTooLong, "the path is too long; send the request by POST")
    fileprivate static let bodyTooLong = HTTPMessage(.contentTooLarge, "the body is too long for an OCSP request")

    fileprivate static func wrongMethod(_ allow: StaticString, _ text: String? = nil) -> HTTPMessage {
        var message = HTTPMessage(.methodNotAllowed, text ?? "the methods here are \(allow)")
        message.allow = allow
        return message
    }

    /// - Parameter complaints: why answers are not what they should be.
    fileprivate static func health(_ complaints: [String]) -> HTTPMessage {
        guard !complaints.isEmpty else { return HTTPMessage(.ok, "ok") }
        var message = HTTPMessage(.unavailable, complaints.joined(separator: "\n"))
        message.retryAfter = 5
        return message
    }
}
