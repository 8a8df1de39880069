// The budget for large answers.

import CoreServer
import Testing
import Threads

@Suite("Large answers")
struct LargeAnswersTests {
    @Test("64 MiB go out at once, then 32 MiB a second; small answers always do")
    func budget() {
        let answers = LargeAnswers()
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        for _ in 0..<4 { #expect(answers.admit(16 << 20, at: start)) }
        #expect(!answers.admit(16 << 20, at: start))
        for _ in 0..<10_000 { #expect(answers.admit(1_000, at: start)) }
        #expect(!answers.admit(16 << 20, at: start.advanced(byMilliseconds: 400)))
        #expect(answers.admit(16 << 20, at: start.advanced(byMilliseconds: 600)))
        #expect(!answers.admit(16 << 20, at: start.advanced(byMilliseconds: 700)))
        for _ in 0..<4 { #expect(answers.admit(16 << 20, at: start.advanced(byMilliseconds: 1_000_000))) }
        #expect(!answers.admit(16 << 20, at: start.advanced(byMilliseconds: 1_000_000)))
    }
}
