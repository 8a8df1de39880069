// Fuzz target: JSON, requests, answers, parameters and the header of the internal link.

import FuzzSupport
import UPKIProtocol

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProtocol(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = FuzzInput(data, count).bytes
    checkJSON(bytes)
    checkRequest(bytes)
    checkAnswer(bytes)
    checkHeaders(bytes)
    return 0
}

/// What is read is written as one line that is read to the same value, and never longer than what it came from allows.
private func checkJSON(_ bytes: [UInt8]) {
    let value: JSON
    do throws(JSONError) { value = try JSON(parsing: bytes) } catch {
        demand(isOneCleanLine(error.message) && error.message.utf8.count < 200, "the error is one short line: \(error.message)")
        demand(error.offset >= 0 && error.offset <= bytes.count, "the error is inside the text: \(error.offset) of \(bytes.count)")
        return
    }
    let written = value.encoded
    demand(!written.contains { $0 < 0x20 || $0 == 0x7f }, "the text is one line")
    // `\u007f` is written in six octets and may have come as one; nothing grows more.
    demand(written.count <= 6 * bytes.count, "\(bytes.count) octets became \(written.count)")
    guard let again = try? JSON(parsing: written) else { broken("what was written is not read") }
    demand(again == value, "what was written is read as something else")
    demand(again.encoded == written, "the same value is written differently")
    checkNames(value)
}

/// No object has two members of one name.
private func checkNames(_ value: JSON) {
    switch value {
    case .array(let elements): for element in elements { checkNames(element) }
    case .object(let members):
        demand(Set(members.map(\.name)).count == members.count, "two members have one name")
        for member in members { checkNames(member.value) }
    case .number(let text): demand(value.integerValue.map { _ in text.utf8.count <= 20 } ?? true, "a long number is an integer: \(text)")
    case .null, .bool, .string: break
    }
}

/// A request is written and read as the same; whatever is none gets one valid answer of one line.
private func checkRequest(_ bytes: [UInt8]) {
    do throws(Refusal) {
        let request = try Request(frame: bytes)
        guard let again = try? Request(frame: request.frame) else { broken("a request that was written is not read") }
        demand(again.task == request.task && again.parameters.members == request.parameters.members, "the request is another one")
        readParameters(request.parameters)
        checkRefusal(Refusal(.unknownTask, "Unknown task: \(request.task)"))
    } catch {
        checkRefusal(error)
    }
}

/// A refusal is one line, and a client reads from its frame what it says.
private func checkRefusal(_ refusal: Refusal) {
    demand(isOneCleanLine(refusal.message), "the refusal is one line: \(refusal.message)")
    let frame = Answer.frame(refusal)
    demand((try? JSON(parsing: frame)) != nil, "the refusal's frame is JSON")
    do throws(Refusal) {
        _ = try Answer.data(ofFrame: frame)
        broken("a refusal is read as an answer")
    } catch {
        demand(error.code == .refusedByServer && error.message == refusal.message, "the refusal says \(error.message)")
    }
}

/// Every way to read every parameter ends with a value or a refusal of one line.
private func readParameters(_ parameters: Parameters) {
    for member in parameters.members {
        let name = member.name
        read { _ = try parameters.string(name) }
        read { _ = try parameters.bool(name, else: false) }
        read { _ = try parameters.optionalStrings(name, atMost: 4) }
        read { demand(try parameters.list(name, atMost: 4).count <= 4, "a list is longer than allowed") }
        read {
            if let number = try parameters.optionalInteger(name, in: -5...36_500) { demand((-5...36_500).contains(number), "\(number)") }
        }
    }
}

private func read(_ parameter: () throws -> Void) {
    do { try parameter() } catch let error as Refusal { checkRefusal(error) } catch { broken("an error that is no refusal: \(error)") }
}

/// Reading what is no answer ends with a refusal.
private func checkAnswer(_ bytes: [UInt8]) {
    do throws(Refusal) {
        let data = try Answer.data(ofFrame: bytes)
        guard let again = try? Answer.data(ofFrame: Answer.frame(data)) else { broken("an answer that was written is not read") }
        demand(again == data, "the answer is another one")
    } catch {
        demand(isOneCleanLine(error.message), "the refusal is one line: \(error.message)")
    }
}

/// A header that is understood is written as it was read.
private func checkHeaders(_ bytes: [UInt8]) {
    if let header = try? InternalLink.RequestHeader(decoding: bytes) {
        demand(header.encoded == bytes, "the header of a request is written differently")
        demand(InternalLink.requestID(of: bytes) == header.id, "the header of a request has another id")
    }
    if let header = try? InternalLink.AnswerHeader(decoding: bytes), bytes.count == 10 {
        demand(header.encoded == bytes, "the header of an answer is written differently")
    }
    demand((InternalLink.requestID(of: bytes) == nil) == (bytes.count < 10), "an id is read from \(bytes.count) octets")
    if let text = String(validating: bytes, as: UTF8.self), case .plain(let address) = InternalLink.plainIdentity(peerAddress: text) {
        let header = InternalLink.RequestHeader(kind: .request, id: 1, arrival: 2, identity: .plain(address: address))
        demand((try? InternalLink.RequestHeader(decoding: header.encoded)) == header, "an address is not read back: \(address)")
    }
}
