"""The beats that all plots share: the opening, the treasured thing, meeting the helper, thanks, and the end.

Long sentences carry several free slots, so that two stories seldom share one; short ones may repeat, as in any story.
"""

OPENING = [
    "Once upon a time, [there was|there lived] a {trait} {kind} [named|called|whose name was] {Hn}.",
    "Once upon a time, there was a {trait} {kind} [named|called] {Hn}, who lived {home}.",
    "Once upon a time, a {trait} {kind} [named|called] {Hn} lived {home}.",
    "Once upon a time, {home}, there lived a {trait} {kind} [named|called] {Hn}.",
    "Once upon a time, there was a {kind}[ named| called] {Hn}, and {he} was very {trait}.",
    "Once upon a time, {Hn} the {kind} lived {home}.",
]
OTHER_OPENING = [
    "{Hn} was a {trait} {kind} who lived {home}.",
    "{Hn} was a {trait} {kind}.",
    "There was once a {trait} {kind} [named|called] {Hn}.",
    "Long ago, a {trait} {kind} [named|called] {Hn} lived {home}.",
    "In [a|the] {b_look} [house|hut|corner] near the {place} lived a {kind} [named|called] {Hn}.",
    "This is the story of {Hn}, a {trait} {kind}.",
    "Far away, {home}, there lived a {kind} [named|called] {Hn}.",
    "Everyone {at} knew {Hn} the {kind}.",
    "{day}, a {trait} {kind} [named|called] {Hn} [woke up|got up] early.",
]
DAILY = [
    "[Every|Each] {time}, {he} [liked|loved] to sit {at} and [look at|watch] the {view}.",
    "{He} was [often|sometimes|always] a bit {trait}, but {he} had a [good|big|warm|soft] heart.",
    "Nothing made {him} as happy as [a walk|a song|a good game|a nap] {at}.",
    "{He} [liked|loved] {food} and [long naps|funny songs|short walks|good stories|quiet evenings|loud jokes].",
    "{Hn} [knew|loved] every [path|corner|stone|tree] {at}.",
    "[All day long|In the mornings|On most days], {he} [sang|hummed|played|worked|danced] {at}.",
    "{H} had [many|a few|two or three] friends[ there|], and {he} always [said hello|had time for them|shared {his} lunch].",
]
TREASURE = [
    "{H} had a {look} {obj} that {his} {donor} had [given|made for|brought] {him}.",
    "The thing {he} [liked|loved] [best|most] was {aobj}.",
    "{His} {donor} had given {him} {aobj}, and {he} [took it everywhere|kept it close|was very proud of it].",
    "{He} [owned|had] {aobj}, and every {time} {he} would {use}.",
    "More than anything, {Hn} loved {his} {look} {obj}.",
    "{H} had {aobj}. {He} [liked|loved] to {use}.",
    "[For {his} birthday|One winter|At the fair|Last spring], {his} {donor} gave {him} {aobj}.",
    "\"This {obj} is my [best|finest|dearest] thing,\" {he} [often|always] said. With it {he} could {use}.",
]
USE = [
    "{Hn} could {use} for hours.",
    "[When|Whenever] {he} had time, {he} would {use}.",
    "{He} [wanted|liked|loved] to {use} when the {animalsound}.",
    "\"[Look|Come and see], I can {use}!\" {he} [would say|told everyone].",
    "It was [just right|perfect|good] if you wanted to {use}.",
]
FEEL_BAD = [
    "{H} felt {sad}.",
    "{H} was so {sad} that {he} [could not eat|sat down on a {a_look} log|forgot {his} {food}|did not want to play].",
    "A [big|small|hot|single] tear [ran|rolled] down {his} [cheek|face|nose].",
    "\"Oh no!\" [cried|said|whispered] {Hn}. \"[What shall I do|What can I do|What will I do] now?\"",
    "{His} [heart|tummy|nose] felt [heavy|cold|tight], and {he} was {sad}.",
    "{H} [sat down and cried|began to cry|sighed a long sigh]. {He} was {sad}.",
    "{He} tried to smile, but {he} was {sad}.",
]
MEET = [
    "[Just then|Soon|After a while|A little later], a {ftrait} {fkind} [named|called] {Fn} came [by|along|down the path|"
    "out of the grass].",
    "{Hn} [went|{ran}] to [see|find|ask] {Fn}, a {ftrait} {fkind} who lived [nearby|next door|across the road|"
    "around the corner].",
    "A {ftrait} {fkind} was [resting|reading|singing|working|waiting] {at}. {Fhis} name was {Fn}.",
    "On the way, {he} met {Fn}, the {ftrait} {fkind}.",
    "\"[Hello|Hello there|Good {time}],\" said a voice. It was {Fn}, a {ftrait} {fkind}.",
    "{Fn} the {fkind} heard {him} and [came|{ran}] [over|closer|to {him}].",
]
ASK = [
    "\"[What is wrong|What is the matter|Why do you look so sad|What happened]?\" asked {F}.",
    "\"You look [sad|worried|upset|lost],\" said {F}. \"[What is it|Tell me why|What happened]?\"",
    "{Fn} sat down beside {him} and asked, \"[What is wrong|What happened|Why are you crying]?\"",
    "\"[Can|May] I help you?\" asked {F}[ in a [soft|warm|low|friendly] voice| kindly| with a smile|].",
]
TELL = [
    "\"{trouble},\" {said} {H}.",
    "{Hn} told {fhim} [everything|the whole story|what had happened]. \"{trouble},\" {he} said.",
    "\"{trouble}, and I do not know what to do,\" {said} {Hn}.",
    "\"It is my {obj},\" said {H}. \"{trouble}.\"",
]
OFFER = [
    "\"[Do not cry|Do not worry|Do not give up|Cheer up],\" said {F}. \"[I will help you|We will do it together|"
    "Two heads are better than one].\"",
    "{Fn} thought for a [moment|while|minute]. \"[I know what to do|I have an idea|We can try together],\" {fhe} said.",
    "\"[Come with me|Dry your eyes|Take a deep breath],\" said {F}, \"and [let us think|we will find a way|I will help].\"",
    "{F} scratched {fhis} head. \"[Let me think|Hmm|Well],\" {fhe} said. \"[I can help|I have a plan|We must be clever]!\"",
]
THANKS = [
    "\"Thank you, {Fn}!\" [said|cried|called] {H}. \"[You are a true friend|You are so kind|I could not have done it alone|"
    "You are the best].\"",
    "{Hn} [hugged|thanked|smiled at] {Fn}[ with all {his} heart| again and again| and laughed|].",
    "{Hn} was so {glad} that {he} [danced|jumped up and down|sang a song|hugged {Fn}|clapped].",
    "\"[Hooray|Hurrah|Wonderful]!\" [shouted|cried] {Hn}. \"Thank you for your help, {Fn}!\"",
    "[Both of them|The two friends|{Hn} and {Fn}] [laughed|smiled|cheered|danced] [together|out loud|for joy].",
    "To say thank you, {Hn} gave {Fn} some {food}.",
]
GLAD = [
    "{H} felt {glad} again.",
    "{His} [heart|face] was [light|bright|warm] again.",
    "How {glad} {Hn} was!",
    "{H} [smiled|laughed|sang] all the way home.",
    "{He} was {glad}, and so was {Fn}.",
]
LESSON = [
    "{Hn} had learned {lesson}.",
    "That day, {Hn} learned {lesson}.",
    "{Hn} now knew {lesson}.",
    "\"I have learned {lesson},\" {said} {Hn}.",
    "[And so|In this way], the {trait} {kind} learned {lesson}.",
]
# The last words always name the hero and the thing: a story ends with what it began with.
ENDING = [
    "From that day on, {Hn} [always took good care of|never forgot|smiled whenever {he} saw] {his} {obj}.",
    "That night, {Hn} [fell asleep|dreamed sweetly|slept well] with the {obj} [beside {him}|next to {his} bed|"
    "under {his} pillow|near {his} head].",
    "And {whenever} {Hn} [looked at|picked up|saw] the {obj}, {he} [thought of|remembered] {Fn} and [smiled|was glad|"
    "laughed].",
    "{Hn} and {Fn} [became|stayed|were] [good|best|great|true] friends, and the {look} {obj} was [never far away|"
    "always with them].",
    "After that, {Hn} and {Fn} [met|played] every {time} {at}, and they always [brought|had] the {obj}.",
    "{Hn} put the {obj} [on the shelf|by the window|near the fire|in its place] and went to bed {glad}.",
    "And {Hn}, {Fn} and the {look} {obj} were [seen together|together] [every day|very often|for many years].",
    "In the evening, {Hn} told {his} {giver} all about the {obj}, and they ate {food}.",
    "So {Hn} went home {glad}, with the {obj} [in {his} arms|at {his} side|held tight].",
]
# Where the thing ends up with somebody else, or far away, it is remembered instead of kept.
FAR_ENDING = [
    "From that day on, {Hn} [never forgot|often thought of] {Fn} and the {look} {obj}.",
    "And {whenever} {Hn} [saw|thought of|heard of] the {obj}, {he} [thought of|remembered] {Fn} and [smiled|was glad|"
    "laughed].",
    "{Hn} and {Fn} [became|stayed|were] [good|best|great|true] friends, and they often talked about the {look} {obj}.",
    "After that, {Hn} and {Fn} [met|played] every {time} {at}, and they often [spoke|told stories] of the {obj}.",
    "And {Hn}, {Fn} and the {look} {obj} were [seen together|together] [every day|very often|for many years].",
    "In the evening, {Hn} told {his} [neighbours|friends|family] all about the {obj}, and they ate {food}.",
    "So {Hn} went home {glad}, and dreamed of the {obj} all night.",
    "For a long time, {Hn} told everyone {at} the story of the {look} {obj}.",
]
OUTRO = ["The end.", "And they lived happily ever after.", "It had been a [good|long|wonderful|lovely|strange] day.",
         "The {animalsound}, and all was well."]
